"""Reading bundles: manifest, files, target. Torch-free; used by the store and by the consumer."""
