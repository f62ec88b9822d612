"""Circuit breakers: a service that keeps failing is left alone for a while."""
