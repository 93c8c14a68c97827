"""One pure function per formula: tensors in, tensors out, no state."""
