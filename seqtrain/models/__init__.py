"""The shapes of the map, sequence to vector, vector to sequence, …: one file a model."""
