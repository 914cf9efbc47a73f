"""Makes the table that every later stage sees: image ids, paths, image-level labels, splits, class names."""

from __future__ import annotations

from wsss.config.stages import PrepareData
from wsss.data.prepare import prepare_data
from wsss.stages.common import cores, stage_parser, stage_session


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    args = parser.parse_args()
    with stage_session("prepare_data", args, PrepareData) as settings:
        prepare_data(settings, args.out, cores(args))


if __name__ == "__main__":
    main()
