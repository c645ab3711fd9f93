"""What is shown of a policy to others: its model card, and the upload to the Hugging Face Hub."""
