"""Long jobs: kept in a store, spoken by one runner, resumed after whatever happens."""
