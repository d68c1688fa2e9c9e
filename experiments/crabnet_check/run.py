"""Plan, train and check CrabNet's own benchmark: python experiments/crabnet_check/run.py --help"""

import sys

from xxact.experiments.launch import main

if __name__ == "__main__":
    sys.exit(main(__file__, scale="aflow"))
