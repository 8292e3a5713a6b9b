"""What is kept of measurements and exports: records, stores, manifests."""
