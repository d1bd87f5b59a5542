"""The assays of the field, simulated from pixels to answers: what goes in is known exactly."""
