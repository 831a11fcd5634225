"""Names in a topology that match nothing: found in entities and in coprocessor stages. Pure."""
