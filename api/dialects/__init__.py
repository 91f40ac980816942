"""What other services' clients send and read, in the farm's own terms and back."""
