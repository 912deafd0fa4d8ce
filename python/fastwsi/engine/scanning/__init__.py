"""From a slide to its heatmap: a plan of patches, threads that read, a device that scores."""
