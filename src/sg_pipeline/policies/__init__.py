"""Language-model policies: the live object, the tiny architecture with its word tokenizer, pretrained models."""
