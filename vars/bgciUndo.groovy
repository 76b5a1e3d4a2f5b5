Map call(Map args = [:]) {
    return bgciRun('undo', args)
}
