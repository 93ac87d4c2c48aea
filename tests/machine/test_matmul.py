import torch

from seqtrain.machine.matmul import filled, with_room


def test_rows_are_filled_up_where_they_are_if_zeros_follow():
    made = with_room(torch.ones(5, 3))
    made.fill_(2.0)
    for rows in (made, torch.full((5, 3), 2.0), torch.full((64, 3), 2.0)[:5], torch.full((128, 3), 2.0)[64:69]):
        there = filled(rows)
        assert (there.data_ptr() == rows.data_ptr()) == (rows is made)
        assert there[:5].eq(2.0).all()
        assert there[5:].eq(0.0).all()
        assert len(there) == 64
    behind = torch.cat([torch.zeros(59, 3), torch.full((5, 3), 2.0)])  # the same shape, and other rows of it
    assert filled(behind[59:])[:5].eq(2.0).all()
    whole = torch.full((64, 3), 2.0)
    assert filled(whole) is whole
