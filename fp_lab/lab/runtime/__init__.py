"""Runtime of commands: devices, processes, progress bars, system metrics."""
