"""ACR (Sun et al., ICCVW 2023)."""
