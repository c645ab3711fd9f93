"""One line for each co-evolution step."""

from typing import Any


def progress_line(metrics: dict[str, Any], steps: int) -> str:
    """Return step/total, phase, lambda, success, R_env, R_sg, label shares (+ = -) and seconds of one step."""
    labels = [metrics.get(f"{name}_share") for name in ("positive", "neutral", "negative")]
    shares = "no guidance" if None in labels else " ".join(
        f"{sign}{100 * share:.0f}%" for sign, share in zip("+=-", labels, strict=True)
    )  # fmt: skip
    line = (
        f"step {metrics['step'] + 1:>{len(str(steps))}}/{steps}  {metrics['phase']:<18}  lambda {metrics['lambda']:.2f}  "
        f"success {_figure(metrics['success_rate'], '5.1%')}  R_env {_figure(metrics['r_env'], '.3f')}  "
        f"R_sg {_figure(metrics['r_sg'], '+.3f')}  {shares}  {metrics['seconds']['total']:.1f} s"
    )
    held_back = metrics.get("quarantined") or 0
    return line + (f"  quarantined {held_back}" if held_back else "")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
