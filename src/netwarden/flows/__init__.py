"""What a flow is: schemas, labels, the flow table and the alert record."""
