"""What a device needs besides its model: a folder or zip that proves itself where it is copied."""
