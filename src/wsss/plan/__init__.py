"""Which steps a run consists of, and the identity of each."""
