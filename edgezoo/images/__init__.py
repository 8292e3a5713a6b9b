"""Images and their labels: decoding, preprocessing, folders, archives, public samples."""
