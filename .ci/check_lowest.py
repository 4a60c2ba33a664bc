"""Check that each library of the product is installed in exactly the lowest permitted version.

`make test-lowest` runs this first: where another requirement raises a version, the bound in
setup.cfg permits versions that no test has used.
"""

from __future__ import annotations

from importlib.metadata import requires, version

from packaging.requirements import Requirement
from packaging.version import Version


def find_differences() -> list[str]:
    """Return a line for each library of the product whose installed version is not its bound."""
    differences = []
    for line in requires("dagengine") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        bounds = [Version(s.version) for s in requirement.specifier if s.operator == ">="]
        installed = Version(version(requirement.name))
        if bounds != [installed]:
            differences.append(
                f"lower bound {requirement}: {installed} is installed; declare that version"
            )
    return differences


if __name__ == "__main__":
    raise SystemExit("\n".join(find_differences()) or 0)
