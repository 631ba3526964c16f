"""What applying a trained model needs: inputs, archives, drawings."""
