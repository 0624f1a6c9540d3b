"""A Weir plugin in Python: the operator mask and the sink sqlite."""

import mask
import sqlite
from weirplugin.process import serve

if __name__ == "__main__":
    serve("py", "1.0.0", [mask.SPEC, sqlite.SPEC])
