"""A machine on which some packages are not installed: a sitecustomize.py that hides them."""

from tests.conftest import SUPPORT

SITECUSTOMIZE = (
    f"""
exec(open({str(SUPPORT / "site" / "sitecustomize.py")!r}).read())"""
    + """
import importlib.machinery, os
_hidden = set(os.environ["EDGEZOO_HIDDEN_PACKAGES"].split(","))
_find = importlib.machinery.PathFinder.find_spec
def _find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in _hidden else _find(name, path, target)
importlib.machinery.PathFinder.find_spec = staticmethod(_find_spec)
"""
)
