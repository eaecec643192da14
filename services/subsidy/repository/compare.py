"""The parcels of a month, for the comparison of policies."""

# In key order, a chunk at a time ($3: the last of the chunk before).
PARCELS_OF_MONTH = """
select parcel_key, brand from parcel
where service_date >= $1 and service_date < $2 and parcel_key > $3 and station_id is not null order by parcel_key limit $4
"""
