"""What the TensorRT engine is made of: the recipe that travels, the cache, the build, the device and the inspection."""
