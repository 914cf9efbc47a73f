"""Pages and figures that show a run: everything here reads results and computes none."""
