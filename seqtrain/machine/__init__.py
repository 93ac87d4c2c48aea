"""What this machine and its processor want: threads, memory, products, signals."""
