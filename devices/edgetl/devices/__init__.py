"""Devices as data, and the verdict whether a bundle's variants are still right on one of them."""
