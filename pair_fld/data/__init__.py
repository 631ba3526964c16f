"""From folders of faces to packed crops, and from packed crops to batches."""
