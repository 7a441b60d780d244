"""Tables of a node: rows in an order, trees and waits, found by one walk for all who look."""
