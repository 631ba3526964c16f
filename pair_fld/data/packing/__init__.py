"""From labelled images to a packed dataset."""
