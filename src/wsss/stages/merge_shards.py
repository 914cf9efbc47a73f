"""Merges the shards of a stage into one file in the order of the data set's table."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss.data.dataset import Dataset
from wsss.stages.log import plain_errors
from wsss.store.merging import merge


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--split", required=True, help="train or val")
    parser.add_argument("--file", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("shards", type=Path, nargs="+", help="HDF5 files of the shards")
    args = parser.parse_args()
    with plain_errors():
        merge(args.shards, args.file, [record.image_id for record in Dataset(args.data).split(args.split)])


if __name__ == "__main__":
    main()
