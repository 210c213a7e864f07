//! What the holder of a dataset key does with sealed objects.
