"""From a sensor to an alert: flows travel in batches through a queue, workers score them and store what alerts."""
