"""A written profile is read back as it was, whatever ships."""

import pytest

from hardware_profiles.load import load, names
from hardware_profiles.write import dumps


@pytest.mark.parametrize("name", names())
def test_what_is_written_is_read_back(name, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(dumps(load(name), head="one\ntwo"), "utf-8")
    assert path.read_text("utf-8").startswith("# one\n# two\nname: ")
    assert load(str(path)) == load(name)
