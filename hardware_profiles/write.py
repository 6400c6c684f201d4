"""Write a profile as the YAML that `load` reads back: figures one a line, in the schema's order."""

import io

from ruamel.yaml import YAML

from hardware_profiles.schema import HardwareProfile

__all__ = ["dumps"]


def dumps(profile: HardwareProfile, head: str = "") -> str:
    """Return the text of a profile's file.

    Parameters
    ----------
    head : what the file says of itself, as a comment at its start
    """
    yaml = YAML()
    yaml.width = 4096
    yaml.default_flow_style = None
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(profile.model_dump(mode="json", exclude_none=True), text)
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return comment + text.getvalue()
