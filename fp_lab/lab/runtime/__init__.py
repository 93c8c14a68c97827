"""What commands run with: devices, processes, progress bars, system metrics."""
