"""Extension points: every name that the package ships, and names that are wrong.

Extensions of a user take part in whole runs in `pipelines/test_documented_extensions.py`.
"""

import pytest

from sg_pipeline.config.extensions import KNOWN, load
from sg_pipeline.config.loader import section


@pytest.mark.parametrize(("point", "name"), [(point, name) for point, names in KNOWN.items() for name in names])
def test_load_of_each_known_name_finds_it(point, name):
    assert load(point, name) is not None


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("aggregate", {"normalisation": "math:nothing"}, "normalisation 'math:nothing' cannot be imported"),
        ("aggregate", {"normalisation": "grup"}, "unknown normalisation 'grup': did you mean 'group'"),
        ("sampling", {"engine": "nowhere:make"}, "sampling engine 'nowhere:make' cannot be imported"),
    ],
)
def test_name_that_is_unknown_or_cannot_be_imported_is_reported(name, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        section(name, **changes)
