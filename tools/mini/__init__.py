"""How the embedded data set `mini` is made; `tools/build_mini.py` is the command."""
