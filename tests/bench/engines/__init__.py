"""The same small server on three TLS engines, and what OpenSSL itself keeps per connection: for decision note 0002."""
