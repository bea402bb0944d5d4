"""PostgreSQL: schema, named queries, one small class a thing."""
