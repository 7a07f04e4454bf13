"""Start a training job: `python launch.py jobs/ranking.json`."""

import argparse
import logging

from trainkit.config import load_job
from trainkit.train import train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="path of a job file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    train(load_job(arguments.job))
