"""Worker processes: their supervision (torch-free) and, in the child, the compile pipeline."""
