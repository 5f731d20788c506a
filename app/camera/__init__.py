"""The camera client: looks, chooses the best picture of each visitor, and loses none of them."""
