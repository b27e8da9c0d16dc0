"""What the API asks of the node that holds a call."""
