"""Rows of similar length together, within a budget of tokens."""

from collections.abc import Sequence


def group_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return indices grouped so that (rows x longest row) of a group stays within `budget`; shortest first.

    A row longer than the budget becomes a separate group. Ties keep their order.
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and (len(groups[-1]) + 1) * lengths[i] <= budget:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def group_with_least_padding(lengths: Sequence[int], budget: int, overhead: int) -> list[list[int]]:
    """Return indices grouped as by `group_by_length`, but cut where padding and groups together cost least.

    A group costs its padded tokens and `overhead`. Sorted by length, the best groups are neighbours, so a table of the
    best cut before each row finds them (in rows x rows of a group steps).

    Args:
        lengths: of the rows.
        budget: of a group, padding included; a longer row is a separate group.
        overhead: tokens that a group costs besides: at 0 equal lengths alone would go together.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    cost = [0.0]
    begins = [0]
    for end in range(1, len(order) + 1):
        width = lengths[order[end - 1]]
        best, begin = cost[end - 1] + width, end - 1
        for start in range(end - 2, -1, -1):
            padded = (end - start) * width
            if padded > budget:
                break
            if cost[start] + padded < best:
                best, begin = cost[start] + padded, start
        cost.append(best + overhead)
        begins.append(begin)
    groups: list[list[int]] = []
    end = len(order)
    while end:
        groups.insert(0, order[begins[end] : end])
        end = begins[end]
    return groups
