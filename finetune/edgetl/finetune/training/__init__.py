"""The training loop and everything it reads, draws and keeps."""
