"""Makes the data set's table for all later stages: image ids, paths, image-level labels, splits, class names."""

from __future__ import annotations

from contextlib import suppress

from wsss.config.stages import PrepareData
from wsss.data.changes import changes, labels_of
from wsss.data.dataset import Dataset
from wsss.data.prepare import prepare_data
from wsss.plan.earlier import earlier_folders
from wsss.runtime.progress import log
from wsss.stages.common import cores, stage_parser, stage_session


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    args = parser.parse_args()
    with stage_session("prepare_data", args, PrepareData) as settings:
        prepare_data(settings, args.out, cores(args))
        for folder in earlier_folders(args.out, "content"):
            with suppress(OSError, ValueError):  # never finished, or damaged
                said = changes(labels_of(Dataset(folder)), labels_of(Dataset(args.out)))
                log.info("since the last time: %s", said or "the same images and labels")
                break


if __name__ == "__main__":
    main()
