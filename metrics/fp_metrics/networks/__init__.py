"""Networks that measures look through: modules and their loaders, nothing that scores."""
