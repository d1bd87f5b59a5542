"""The contract every room keeps: methods, calibration, table schemas, errors."""
