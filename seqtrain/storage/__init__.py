"""Files that seqtrain writes: run folders, the cache, and downloaded data; safe in folders that others can change."""
